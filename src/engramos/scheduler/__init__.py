"""The scheduler: jobs that follow from changes, and the worker that runs them."""
