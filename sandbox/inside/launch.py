"""The one file of a box that is run by path: makes its package known and starts the launcher.

python -I -S launch.py DESCRIPTOR FOLDER    start a box, controlled over that descriptor; compiled
                                      modules are looked for in FOLDER as well, unless it is ""
python -I -S launch.py probe [UID]    try each layer; print what was found as JSON
python -P launch.py plain FOLDER      run a plugin without a box, for a debugger
"""

import os
import sys

# Made by hand, since importlib's tools for it cost more than the rest of this file.
package = type(sys)("toolrunner_inside")
package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
sys.modules[package.__name__] = package

if sys.argv[1] == "probe":
    from toolrunner_inside import trials  # type: ignore[import-not-found]  # made just above

    trials.main(sys.argv[2:])
elif sys.argv[1] == "plain":
    from toolrunner_inside import plain

    plain.main(sys.argv[2])
else:
    if sys.argv[2]:
        from toolrunner_inside import bytecode

        bytecode.use(sys.argv[2])
    from toolrunner_inside import launcher

    launcher.main(int(sys.argv[1]))
