"""Settings before they are a configuration: names, presets, plug-ins, listings."""
