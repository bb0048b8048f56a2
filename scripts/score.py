#!/usr/bin/env python3
"""Runs a scorer over what `score` wrote and prints each measure beside the best known figure, its floor and its goal.

usage: score.py SCORER DATA_DIR DUMP_DIR NOT_BUILT   (numpy and pandas needed)

SCORER is the scorer's file; NOT_BUILT names the suites without a dump, separated by commas. The figures are the scorer's own;
the interval behind each is ours: the 2.5 % and 97.5 % points of 200 resamples over files, machines, systems, cases or series,
drawn with one seed. It tells how much a figure hangs on the few items that there are, nothing else.
Everything is also written to score.json in DUMP_DIR.
"""
import importlib.util
import json
import os
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    sys.exit("numpy and pandas are missing: python3 -m pip install numpy pandas")

# The scorer's folder may belong to somebody else.
sys.dont_write_bytecode = True
RESAMPLES, SEED = 200, 7
FOLDERS = {"nab": "nab", "kpi": "kpi_aiops2018", "smd": "smd", "asd": "asd", "logs": "loghub2k",
           "petshop": "petshop", "nezha": "nezha", "forecast": "workload"}

# suite, measure, key below, best known, floor, goal; a measure with "<=" is better when smaller.
MEASURES = [
    ("nab", "standard", "standard", 78.0, 65, 79),
    ("nab", "low false alarms", "low_fp", 73.8, 58, 75),
    ("nab", "own alarms, standard", "own", None, 55, 70),
    ("kpi", "own alarms, F1", "own", 0.464, 0.50, 0.62),
    ("kpi", "false alarms a series-day <=", "false", 0.078, 0.1, 0.1),
    ("kpi", "delay-7 F1, tuned", "tuned", 0.769, 0.80, 0.86),
    ("kpi", "delay-7 F1, oracle", "oracle", 0.864, 0.88, 0.93),
    ("smd", "own alarms, F1", "own", 0.676, 0.68, 0.78),
    ("smd", "false alarms a machine-day <=", "false", 0.76, 0.8, 0.8),
    ("smd", "causes hit at 100 %", "causes", 0.754, 0.75, 0.82),
    ("asd", "own alarms, F1", "own", 0.329, 0.36, 0.50),
    ("asd", "false alarms a machine-day <=", "false", 0.18, 0.2, 0.2),
    ("logs", "grouping accuracy", "GA", 0.780, 0.86, 0.92),
    ("logs", "template F1", "FTA", 0.498, 0.55, 0.65),
    ("petshop", "latency, top 1", "latency 1", 0.643, 0.64, 0.78),
    ("petshop", "latency, top 3", "latency 3", 0.929, 0.92, 1.00),
    ("petshop", "availability, top 1", "availability 1", 0.833, 0.75, 0.92),
    ("petshop", "availability, top 3", "availability 3", 1.000, 1.00, 1.00),
    ("nezha", "Online Boutique, top 1", "online boutique 1", 0.929, 0.75, 0.90),
    ("nezha", "Online Boutique, top 3", "online boutique 3", 0.964, 0.90, 0.97),
    ("nezha", "Train Ticket, top 1", "train ticket 1", 0.867, 0.50, 0.88),
    ("nezha", "Train Ticket, top 3", "train ticket 3", 0.978, 0.75, 0.98),
    ("forecast", "error against seasonal naive <=", "rel", 0.721, 0.72, 0.65),
    ("forecast", "WQL <=", "wql", 0.142, 0.145, 0.130),
    ("forecast", "P90 plan, excess <=", "excess", 0.355, 0.36, 0.30),
    ("forecast", "P90 plan, share under (8 to 12 %)", "under", 0.088, (0.08, 0.12), (0.08, 0.12)),
]
# A figure counts only while the other one holds its floor: alarms found at any price, or plans that fall short, are worth nothing.
HELD_BY = {("kpi", "own"): "false", ("smd", "own"): "false", ("asd", "own"): "false", ("forecast", "excess"): "under"}


def load(path):
    """The scorer as a module, with its neighbours in reach."""
    if not os.path.exists(path):
        sys.exit(f"{path}: there is no scorer; say where it is with SCORER=path")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        spec = importlib.util.spec_from_file_location("scorer", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        sys.exit(f"{path}: {error}; for numpy and pandas: python3 -m pip install numpy pandas")
    return module


class Scorer:
    """The scorer, with what it says and what its rules are called with kept apart."""

    def __init__(self, module):
        self.module = module
        self.lines, self.calls = [], {}
        module.out = lambda **line: self.lines.append(line)
        for name in ("nab", "own_events", "topk", "read"):
            setattr(module, name, self.kept(name, getattr(module, name)))
        module.DelayF1 = self.kept_class(module.DelayF1)

    def kept(self, name, function):
        def call(*arguments, **named):
            result = function(*arguments, **named)
            self.calls.setdefault(name, []).append((arguments, named, result))
            return result
        return call

    def kept_class(self, base):
        scorer = self

        class Kept(base):
            def __init__(self, *arguments, **named):
                super().__init__(*arguments, **named)
                self.answers = []
                scorer.calls.setdefault("delay", []).append(self)

            def counts(self, threshold):
                answer = super().counts(threshold)
                self.answers = self.answers[-1:] + [answer]
                return answer

        return Kept

    def run(self, suite, data, dump):
        """Lines of the scorer, and the calls of its rules."""
        self.lines, self.calls = [], {}
        self.module.out = lambda **line: self.lines.append(line)
        if suite in ("smd", "asd"):
            self.module.suite_multi(suite, data, dump)
        else:
            getattr(self.module, f"suite_{suite}")(data, dump)
        return self.lines, self.calls


def f1(found, false, missed):
    return 0.0 if found == 0 else 2 * found / (2 * found + false + missed)


def own_f1(events):
    """F1 of rows (found, missed, false)."""
    found, missed, false = events.sum(0)
    return f1(found, false, missed)


def nab(scorer, data, dump):
    lines, calls = scorer.run("nab", data, dump)
    rules = sys.modules["rules"]

    def profile(arguments, name, threshold):
        """Score of a choice of files: as the rules add it up, on arrays."""
        weights = rules.PROFILES[name]
        files = []
        for times, windows, scores in arguments[0]:
            one = rules.NabFile(times, windows, scores, weights)
            base, steps = one.curve()
            steps = np.array(steps, float).reshape(-1, 2)
            files.append((base, one.nwin, steps[:, 0], steps[:, 1]))

        def of(choice):
            base = sum(files[i][0] for i in choice)
            count = sum(files[i][1] for i in choice)
            if count == 0:
                return None
            score = np.concatenate([files[i][2] for i in choice])
            order = np.argsort(-score, kind="stable")
            score, sums = score[order], base + np.cumsum(np.concatenate([files[i][3] for i in choice])[order])
            if threshold is None:
                ends = np.r_[score[1:] != score[:-1], True]
                best = max(base, sums[ends].max())
            else:
                above = int((score >= threshold).sum())
                best = sums[above - 1] if above else base
            null, perfect = -weights["fn"] * count, weights["tp"] * count
            return 100 * (best - null) / (perfect - null)
        return of, len(files)

    values = {line["profile"]: line["best"] for line in lines} | {"own": lines[0]["own_alarms"]}
    wanted = {"standard": ("standard", None), "low_fp": ("low_fp", None), "own": ("standard", 0.5)}
    parts = {}
    for key, (name, threshold) in wanted.items():
        for arguments, _, _ in calls["nab"]:
            given = (arguments[1], arguments[2] if len(arguments) > 2 else None)
            if given == (name, threshold):
                parts[key] = profile(arguments, name, threshold)
    return values, parts


def kpi(scorer, data, dump):
    lines, calls = scorer.run("kpi", data, dump)
    events = np.array([result for _, _, result in calls["own_events"]], float)
    rows = [len(arguments[0]) for arguments, _, _ in calls["own_events"]]
    steps = [int(result.timestamp.diff().mode()[0]) for _, _, result in calls["read"]]
    days = np.array(rows) * np.array(steps) / 86_400
    # Train and test part of each series in turn; the test part's last two answers are the tuned and the oracle threshold's.
    answers = [part.answers for part in calls["delay"][1::2]]
    tuned, oracle = (np.array([answer[which] for answer in answers]) for which in (0, 1))
    threshold = {line["threshold"]: line for line in lines}
    values = {"own": threshold["own"]["event_f1"], "false": threshold["own"]["false_per_series_day"],
              "tuned": threshold["tuned"]["delay7_f1"], "oracle": threshold["oracle"]["delay7_f1"]}
    parts = {"own": lambda i: own_f1(events[i]), "false": lambda i: events[i, 2].sum() / days[i].sum(),
             "tuned": lambda i: f1(*tuned[i].sum(0)[:3]), "oracle": lambda i: f1(*oracle[i].sum(0)[:3])}
    return values, {key: (part, len(events)) for key, part in parts.items()}


def multi(scorer, suite, data, dump):
    lines, calls = scorer.run(suite, data, dump)
    events = np.array([result for _, _, result in calls["own_events"]], float)
    days = np.array([len(arguments[0]) for arguments, _, _ in calls["own_events"]]) / (288 if suite == "asd" else 1440)
    whole = lines[-1]
    values = {"own": whole["own_event_f1"], "false": whole["false_per_machine_day"], "causes": whole["causes_at_100"]}
    # Hits are only told for a folder: one folder a machine.
    hits, weights = [], []
    machines = sorted(name[:-len("_test.csv.gz")] for name in os.listdir(data) if name.endswith("_test.csv.gz"))
    for machine in machines:
        with tempfile.TemporaryDirectory() as alone:
            for end in ("_test.csv.gz", "_causes.txt"):
                os.symlink(os.path.abspath(f"{data}/{machine}{end}"), f"{alone}/{machine}{end}")
            hits.append(scorer.run(suite, alone, dump)[0][-1]["causes_at_100"])
        with open(f"{data}/{machine}_causes.txt") as causes:
            weights.append(sum(":" in line for line in causes))
    hits, weights = np.array(hits), np.array(weights, float)
    parts = {"own": lambda i: own_f1(events[i]), "false": lambda i: events[i, 2].sum() / days[i].sum(),
             "causes": lambda i: (hits[i] * weights[i]).sum() / weights[i].sum()}
    return values, {key: (part, len(events)) for key, part in parts.items()}


def logs(scorer, data, dump):
    lines, _ = scorer.run("logs", data, dump)
    systems = [line for line in lines if line["system"] != "mean"]
    values = {key: lines[-1][key] for key in ("GA", "FTA")}
    parts = {key: np.array([line[key] for line in systems]) for key in values}
    return values, {key: (lambda i, part=part: part[i].mean(), len(part)) for key, part in parts.items()}


def ranked(scorer, suite, data, dump):
    lines, calls = scorer.run(suite, data, dump)
    values, parts = {}, {}
    for line, (arguments, _, _) in zip(lines, calls["topk"]):
        if line.get("type", "all") != "all":
            continue
        name = line.get("metric") or line.get("application")
        places = np.array([rank.index(truth) + 1 if truth in rank else 999 for rank, truth in arguments[0]])
        for top in (1, 3):
            values[f"{name} {top}"] = line[f"top{top}"]
            parts[f"{name} {top}"] = (lambda i, places=places, top=top: (places[i] <= top).mean(), len(places))
    return values, parts


def forecast(scorer, data, dump):
    lines, _ = scorer.run("forecast", data, dump)
    series = [line for line in lines if line["series"] != "mean"]
    mean = lines[-1]
    values = {"rel": mean["error_against_seasonal_naive"]} | {key: mean[key] for key in ("wql", "excess", "under")}
    column = {key: np.array([line[key] for line in series], float) for key in values}
    parts = {key: (lambda i, part=part: part[i].mean(), len(part)) for key, part in column.items()}
    parts["rel"] = (lambda i: float(np.exp(np.log(np.maximum(column["rel"][i], 1e-9)).mean())), len(series))
    return values, parts


def interval(part, value):
    """Percentile bootstrap; nothing when the parts do not give the scorer's own figure."""
    function, count = part
    whole = function(np.arange(count))
    if whole is None or abs(whole - value) > 2e-3 * max(1.0, abs(value)):
        return None
    random = np.random.default_rng(SEED)
    drawn = [function(random.integers(0, count, count)) for _ in range(RESAMPLES)]
    drawn = [value for value in drawn if value is not None]
    return [round(float(point), 4) for point in np.percentile(drawn, [2.5, 97.5])]


def reached(value, mark, smaller):
    if isinstance(mark, tuple):
        return mark[0] <= value <= mark[1]
    return value <= mark if smaller else value >= mark


def text(value):
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return f"{value[0]:g}-{value[1]:g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    path, data, dump = sys.argv[1:4]
    absent = set(filter(None, sys.argv[4].split(",")))
    scorer = Scorer(load(path))
    found, failed = {}, {}
    for suite, folder in FOLDERS.items():
        if suite in absent:
            continue
        arguments = (f"{data}/{folder}", f"{dump}/{suite}")
        try:
            if suite in ("smd", "asd"):
                found[suite] = multi(scorer, suite, *arguments)
            elif suite in ("petshop", "nezha"):
                found[suite] = ranked(scorer, suite, *arguments)
            else:
                found[suite] = {"nab": nab, "kpi": kpi, "logs": logs, "forecast": forecast}[suite](scorer, *arguments)
        except SystemExit as error:
            # The scorer refuses a dump by leaving.
            failed[suite] = str(error)
    rows = []
    for suite, name, key, best, floor, goal in MEASURES:
        row = {"suite": suite, "measure": name, "best": best, "floor": floor, "goal": goal, "value": None, "interval": None}
        rows.append(row)
        if suite in absent:
            row["verdict"] = "not built"
            continue
        if suite in failed:
            row["verdict"] = "refused"
            continue
        values, parts = found[suite]
        smaller = name.endswith("<=")
        row["value"] = values[key]
        if key in parts:
            row["interval"] = interval(parts[key], values[key])
        limit = next((m for m in MEASURES if m[0] == suite and m[2] == HELD_BY.get((suite, key))), None)
        if limit and not reached(values[limit[2]], limit[4], limit[1].endswith("<=")):
            row["verdict"] = "limit missed"
        elif reached(values[key], goal, smaller):
            row["verdict"] = "goal"
        else:
            row["verdict"] = "floor" if reached(values[key], floor, smaller) else "below"
    print(f"{'suite':<9} {'measure':<34} {'best known':>10} {'floor':>9} {'goal':>9} {'ours':>8}  {'interval':<16} verdict")
    for row in rows:
        span = row["interval"]
        between = f"{text(span[0])} to {text(span[1])}" if span else ""
        print(f"{row['suite']:<9} {row['measure']:<34} {text(row['best']):>10} {text(row['floor']):>9} "
              f"{text(row['goal']):>9} {text(row['value']):>8}  {between:<16} {row['verdict']}")
    for suite, why in failed.items():
        print(f"{suite}: {why}")
    with open(f"{dump}/score.json", "w") as file:
        json.dump({"resamples": RESAMPLES, "seed": SEED, "rows": rows, "refused": failed}, file, indent=1)
    print(f"written to {dump}/score.json")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
