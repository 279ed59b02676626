"""The probes on stored features through the command line, on real digits: presets are fields, numbers are sound."""

import json
from pathlib import Path
from typing import Any
