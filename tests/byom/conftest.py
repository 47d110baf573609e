"""Beside ``foreign``, so that pytest finds this folder's helper for the tests in the folders below too."""
