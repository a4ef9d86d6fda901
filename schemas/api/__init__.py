"""What the gateway and its clients say to each other. Shared so that the CLI imports no server."""
