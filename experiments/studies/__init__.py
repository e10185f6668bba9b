"""Questions beside the paper: what each part does, and how it compares."""
