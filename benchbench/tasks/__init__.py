"""YAML → Task; Task × docs → requests. Import the parts by name: this module loads nothing."""
