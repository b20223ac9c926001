"""Settings before validation: names, presets, plug-ins, and their listing."""
