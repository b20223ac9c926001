"""Reports of studies: tables, pictures and pages."""
