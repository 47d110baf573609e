"""Imported networks as backbones."""
