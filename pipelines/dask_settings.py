"""How Dask is to run its workers, where its defaults take processor time from a build."""

# None leaves the variable unset. With it the allocator gives back memory at every opportunity, and the arrays that are made and dropped
# for each clip come from the kernel each time, page by page: a build takes a third more processor time. The others matter less: the
# profile looks at all threads a hundred times a second, the event loop of each process, idle or not, is timed fifty times a second, and
# each process reads twice a second what all disks and networks of its machine do, for the dashboard.
WORKER_SETTINGS = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
}
IN_SHELL = (  # the same for workers that are started by a script
    """export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON='{"MALLOC_TRIM_THRESHOLD_": None}'""",
    "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
    "export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=500ms",
    "export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL=5s",
    "export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__DISK=False",
)
