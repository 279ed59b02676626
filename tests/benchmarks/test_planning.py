"""Planning 100,000 cells: resolved, keyed, and held against a store that has answered most of them."""

import pytest

pytestmark = pytest.mark.slow

MEASURED = """
import hashlib, json, resource, sys, time
from pathlib import Path
from bob.gauntlet import states
from bob.plan import Plan, resolve
from results.store import Store
import backbones.catalogue, bob.plan, tasks.catalogue
from backbones.base import Backbone, Card, Preprocess
from tasks.datasets.base import Dataset, OpenOptions

class Nobody(Backbone):
    def __init__(self, name):
        super().__init__()
        sha = hashlib.sha256(name.encode()).hexdigest()
        self.card = Card(name, "supervised", "none", 1, "none", "none", "tests", "0", "none", sha)
        self.preprocess = Preprocess((224, 224), 256, "center", "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    def embed(self, images): raise AssertionError
    def feature_maps(self, images): raise AssertionError
    def layers(self): return []

class Roster:
    def get(self, name): return Nobody(name)

def dataset(name, options):
    return Dataset(name, ("a", "b"), {}, hashlib.sha256(name.encode()).hexdigest(), "none", "tests", 10, 10)

bob.plan.open_dataset, bob.plan.expand = dataset, lambda name: [name]
bob.plan.task_class = lambda name: Ask
exec(TASK)
plan = Plan(
    backbones=[f"timm:backbone_{number:03}" for number in range(BACKBONES)],
    tasks=[{"task": "ask", "dataset": [f"images:set_{s}" for s in range(25)], "k": k} for k in (1, 5, 10, 20)],
    seeds=list(range(SEEDS)),
)
store = Store(Path(sys.argv[1]))
started = time.perf_counter()
cells = resolve(plan, Roster(), OpenOptions(), "float32", [])
resolved = time.perf_counter()
found = [state for _, state, _ in states(cells, store)]
ended = time.perf_counter()
counts = {state.value: found.count(state) for state in set(found)}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
keys = [cell.key for cell in cells] if sys.argv[2:] else []
print(json.dumps(dict(resolve=resolved - started, states=ended - resolved, peak=peak, counts=counts, keys=keys)))
"""
