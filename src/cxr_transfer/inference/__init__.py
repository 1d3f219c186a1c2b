"""A trained network answers: a film in, class scores out, without torch once it is converted."""

import sys

# OpenVINO and NNCF report each import and conversion to their makers, over the internet, through
# this package, and do without it where it cannot be imported. A hospital's films, or the fact that
# there are any, are nobody's business.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
