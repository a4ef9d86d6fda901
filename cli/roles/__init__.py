"""The three long-running roles, each wired to its ports."""
