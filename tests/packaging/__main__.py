"""`make package`: writes into dist/, beside the wheel and the sdist that are there."""

from tests.packaging.packages import ROOT, build_bundle, build_chart, write_requirements
from tests.packaging.tools import installed_tools

if __name__ == "__main__":
    dist = ROOT / "dist"
    (wheel,) = dist.glob("*.whl")
    tools = installed_tools(print)
    for path in (build_bundle(wheel, dist, tools), build_chart(dist, tools), write_requirements(dist, tools)):
        print(path.relative_to(ROOT))
