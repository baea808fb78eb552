"""Working on jobs. Begin with `weighup.serve.work.worker.Worker`."""
