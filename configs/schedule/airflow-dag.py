"""A config every night, by Airflow: one task, which runs the notebook `pipeline.ipynb`; it fails when a stage fails.

Put a copy into the folder of DAGs, with the provider installed:

    pip install "apache-airflow-providers-papermill>=3.13" ipykernel

Airflow's own environment need not have patchmill, only a kernel that has:

    /opt/patchmill/bin/python -m ipykernel install --prefix /opt/airflow --name patchmill

Parameters are texts, since Airflow fills in templates; the notebook reads them. Secrets are none of them: the kernel
has them in its environment.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.sdk import DAG

# Where it lies: patchmill/notebooks/pipeline.ipynb, beside the modules of an installed patchmill.
NOTEBOOK = os.environ.get("PATCHMILL_NOTEBOOK", "/opt/patchmill/notebooks/pipeline.ipynb")
CONFIG = os.environ.get("PATCHMILL_CONFIG", "/data/coast/configs/coast.yaml")
OUTPUT = os.environ.get("PATCHMILL_OUTPUT", "/data/coast/runs")
KERNEL = os.environ.get("PATCHMILL_KERNEL", "patchmill")

with DAG(
    "patchmill",
    schedule="0 3 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # a second run of the same config would be refused
    dagrun_timeout=timedelta(hours=8),
    tags=["patchmill"],
) as dag:
    PapermillOperator(
        task_id="pipeline",
        input_nb=NOTEBOOK,
        output_nb=f"{OUTPUT}/pipeline-{{{{ ts_nodash }}}}.ipynb",
        kernel_name=KERNEL,
        parameters={"config": CONFIG, "jobs": "2", "overrides": "[]"},
        retries=1,
        retry_delay=timedelta(minutes=10),
    )
