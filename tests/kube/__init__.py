"""A cluster: one that we stand up ourselves, and any real one that `KUBECONFIG` names."""
