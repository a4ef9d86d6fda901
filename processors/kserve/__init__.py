"""Models as KServe InferenceServices of a Kubernetes cluster."""
