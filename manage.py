#!/usr/bin/env python
"""Django's command line, with the development settings unless DJANGO_SETTINGS_MODULE says otherwise."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

from lumyx.env import EnvironmentVariableError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumyx.settings.dev")
    try:
        execute_from_command_line(sys.argv)
    except EnvironmentVariableError as error:
        sys.exit(str(error))
    except OperationalError as error:
        # Our own commands say this themselves; Django's, such as migrate, would print a screen of frames.
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"The database cannot be used: {str(error).strip()}")
