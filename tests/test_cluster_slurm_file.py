"""The file that says what to ask Slurm for."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiodata.errors import CatalogError, EnvironmentFault
from pipelines import slurm
from pipelines.slurm import SHORTEST_WALLTIME_S, SlurmSettings, cluster_arguments, lifetime_s, load_slurm, slurm_cluster

GOOD = 'memory = "4GB"\njobs = { min = 1, max = 20 }\n'


def load(tmp_path, text):
    path = tmp_path / "slurm.toml"
    path.write_text(text)
    return load_slurm(path)


def test_a_short_file_is_enough(tmp_path):
    settings = load(tmp_path, 'memory = "4GB"\njobs = 8')
    assert (settings.jobs.min, settings.jobs.max, settings.cores, settings.walltime_s) == (0, 8, 1, 3600)


@pytest.mark.parametrize(("text", "message"), [
    (GOOD + 'partion = "cpu"', r"unknown key `partion`; did you mean `partition`\?"),
    ('memory = "4GB"', "`jobs` is required"),
    ('memory = "4GB"\njobs = { min = 3, max = 2 }', "min = 3 is more than max = 2"),
    ('memory = "4GB"\njobs = { most = 3 }', "`jobs.*"),
    ('memory = "4GB"\njobs = 0', "greater than or equal to 1"),
    ('memory = "4"\njobs = 1', 'expected a size with its unit, like "8GB"'),
    ('memory = "4GB"\njobs = 1\ncores = 16', r"too little for 16 cores: 0\.6 GB a core"),
    (GOOD + 'walltime = "2 hours"', "expected HH:MM:SS or D-HH:MM:SS"),
    (GOOD + 'walltime = "00:01:00"', "and 120 s at least"),
    ("memory = ", "not TOML"),
])
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, text, message):
    with pytest.raises(CatalogError, match=message) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"--slurm {tmp_path}/slurm.toml: ") and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CatalogError, match=r"can't be read \(No such file"):
        load_slurm(tmp_path / "none.toml")


@given(st.integers(SHORTEST_WALLTIME_S, 30 * 24 * 3600))
def test_workers_end_before_their_jobs_are_killed(walltime_s):
    lifetime, stagger = lifetime_s(walltime_s)
    assert lifetime - stagger > 0 and lifetime + stagger <= walltime_s - 29
    assert stagger > 0


def test_days_count(tmp_path):
    assert load(tmp_path, GOOD + 'walltime = "1-02:03:04"').walltime_s == 93784


def test_the_job_script_says_what_the_file_says(tmp_path):
    jobqueue = pytest.importorskip("dask_jobqueue")
    settings = load(tmp_path, GOOD + f"""
partition = "cpu"
account = "sound"
cores = 2
walltime = "02:00:00"
prologue = ["module load python/3.12"]
logs = "{tmp_path}/logs"
directives = ["--qos=long"]
scratch = "$TMPDIR"
python = "/opt/python"
""")
    arguments = cluster_arguments(settings)
    arguments.pop("scheduler_options")
    job = jobqueue.slurm.SLURMJob(scheduler="tcp://driver:1", name="one", queue=arguments.pop("queue"), **arguments)
    script = job.job_script()
    for words in (
        "#SBATCH -p cpu", "#SBATCH -A sound", "--cpus-per-task=2", "--mem=4G", "-t 02:00:00", "--qos=long", f"{tmp_path}/logs/audiodata-",
        "\nmodule load python/3.12\n", "/opt/python -m distributed.cli.dask_worker tcp://driver:1", "--nworkers 2", "--nthreads 1",
        "--death-timeout 120", "--lifetime 6600s --lifetime-stagger 300s", "--local-directory $TMPDIR",
    ):
        assert words in script, words


def test_without_slurm_one_line_says_so(monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentFault, match="there is no `sbatch` on this machine"), slurm_cluster(SlurmSettings(memory="4GB", jobs=1), None):
        pass


def test_without_dask_jobqueue_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[cluster\]'"), slurm_cluster(SlurmSettings(memory="4GB", jobs=1), None):
        pass
