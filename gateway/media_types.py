"""What answers are made of."""

JSON = "application/json"
PROBLEM = "application/problem+json"
LINES = "application/x-ndjson"
STREAM = "text/event-stream"
TEXT = "text/plain"
HTML = "text/html"
YAML = "application/yaml"
