"""Models served by processes of this machine."""
