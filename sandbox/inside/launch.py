"""The one file of a box that is run by path: loads its package and starts the launcher.

python -I -S launch.py DESCRIPTOR     start a box, controlled over that descriptor
python -I -S launch.py probe          try each layer; print what was found as JSON
"""

import importlib.util
import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location(
    "toolrunner_inside",
    os.path.join(folder, "__init__.py"),
    submodule_search_locations=[folder],
)
assert spec is not None
assert spec.loader is not None
package = importlib.util.module_from_spec(spec)
sys.modules["toolrunner_inside"] = package
spec.loader.exec_module(package)

if sys.argv[1] == "probe":
    from toolrunner_inside import trials  # type: ignore[import-not-found]  # made just above

    trials.main(sys.argv[2:])
else:
    from toolrunner_inside import launcher

    launcher.main(int(sys.argv[1]))
