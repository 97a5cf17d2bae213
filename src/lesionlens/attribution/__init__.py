"""Attribution methods: from a model and a sample to a map."""
