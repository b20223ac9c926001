"""The reference pages, written from the code whenever the site is built."""
