"""`dagcall demo` with another version of Airflow: `python older_demo.py VERSION REQUIREMENTS demo …`."""

import sys
from pathlib import Path

from dagcall.__main__ import main
from dagcall.demo import command

if __name__ == "__main__":
    version, requirements = sys.argv.pop(1), Path(sys.argv.pop(1))
    install = f"Installation of Airflow {version}"
    vars(command).update(AIRFLOW_VERSION=version, REQUIREMENTS=requirements, INSTALL=install)
    main()
