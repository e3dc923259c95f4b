"""Compiled kernels for people without a compiler: built into wheels, where there is one.

All else stands in pyproject.toml. A wheel stays one for every platform: where its kernels do not fit, regulab compiles
its own or does without. Checkouts, editable installations and source distributions hold none.
"""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithKernels(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            sys.path.insert(0, str(Path(__file__).parent / "src"))
            from regulab.training.kernels.prebuilt import prebuild
            from regulab.training.kernels.processor import this_processor

            folder = Path(self.build_lib) / "regulab" / "training" / "kernels" / "prebuilt"
            for line in prebuild(this_processor(), folder):
                print(line)


setup(cmdclass={"build_py": BuildWithKernels})
