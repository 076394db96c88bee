"""Tables from Prometheus and istiod."""

from __future__ import annotations

from meshnb.model.frame import Column, Frame

SAMPLES = Frame(
    "samples",
    "One row per sample of a query; besides these columns one for each label, as categoricals.",
    (
        Column("time", "timestamp", "Time of the sample.", nullable=False),
        Column("value", "float64", "Its value; NaN and infinities as Prometheus gives them.", nullable=False),
    ),
)

HISTOGRAM_SAMPLES = Frame(
    "histogram_samples",
    "One row per bucket of a native histogram.",
    (
        Column("series", "json", "Labels of the series.", nullable=False),
        Column("time", "timestamp", "Time of the sample.", nullable=False),
        Column("lower", "float64", "Lower bound of the bucket.", nullable=False),
        Column("upper", "float64", "Upper bound of the bucket.", nullable=False),
        Column("closed", "string", "Which bound belongs to it: lower, upper, both or neither.", nullable=False),
        Column("count", "float64", "Observations in the bucket, not cumulative.", nullable=False),
    ),
)

BUCKETS = Frame(
    "buckets",
    "One row per bucket of a classic histogram.",
    (
        Column("lower", "float64", "Lower bound, not included.", nullable=False),
        Column("le", "float64", "Upper bound, included; infinity for the last.", nullable=False),
        Column("cumulative", "float64", "Observations up to `le`, as Prometheus stores them.", nullable=False),
        Column("count", "float64", "Observations in this bucket alone.", nullable=False),
        Column("share", "float64", "Share of all observations.", unit="0 to 1"),
    ),
)

QUANTILES = Frame(
    "quantiles",
    "One row per quantile of a classic histogram, with the bucket it lies in.",
    (
        Column("quantile", "float64", "The quantile, 0 to 1.", nullable=False),
        Column("estimate", "float64", "Linear in the bucket, as histogram_quantile gives it."),
        Column("lower", "float64", "It is above this bound."),
        Column("upper", "float64", "It is at most this bound."),
        Column("statement", "string", "What can be said of it.", nullable=False),
    ),
)

LABELS = Frame(
    "labels",
    "One row per label name, or per value of one label.",
    (
        Column("label", "string", "Name of the label.", nullable=False),
        Column("value", "string", "A value of it, if values were asked for."),
    ),
)

METADATA = Frame(
    "metadata",
    "One row per metric and exporter.",
    (
        Column("metric", "string", "Name.", nullable=False),
        Column("type", "string", "counter, gauge, histogram, summary or unknown."),
        Column("unit", "string", "Unit, if the exporter states it."),
        Column("help", "string", "What the exporter says of it."),
    ),
)

RULES = Frame(
    "rules",
    "One row per rule of Prometheus.",
    (
        Column("group", "string", "Group it belongs to."),
        Column("name", "string", "Name of the alert or of the recorded series.", nullable=False),
        Column("type", "string", "alerting or recording."),
        Column("query", "string", "Its expression."),
        Column("for_s", "float64", "How long it must hold before it fires.", unit="s"),
        Column("state", "string", "inactive, pending or firing."),
        Column("health", "string", "ok, err or unknown."),
        Column("error", "string", "Last error of its evaluation."),
        Column("labels", "json", "Labels it adds."),
    ),
)

ALERTS = Frame(
    "alerts",
    "One row per alert that is pending or firing.",
    (
        Column("alert", "string", "Name.", nullable=False),
        Column("state", "string", "pending or firing."),
        Column("since", "timestamp", "Since when."),
        Column("value", "float64", "Value of its expression."),
        Column("labels", "json", "Its labels."),
        Column("annotations", "json", "Its annotations."),
    ),
)

TARGETS = Frame(
    "targets",
    "One row per target that Prometheus scrapes.",
    (
        Column("job", "string", "Job."),
        Column("instance", "string", "Instance."),
        Column("url", "string", "What is scraped."),
        Column("health", "string", "up, down or unknown."),
        Column("error", "string", "Last error."),
        Column("scraped", "timestamp", "Last scrape."),
        Column("duration_s", "float64", "How long it took.", unit="s"),
        Column("labels", "json", "Labels of the target."),
    ),
)

LADDER = Frame(
    "ladder",
    "One row per step of a composed query, innermost first.",
    (
        Column("step", "int64", "Number of the step.", nullable=False),
        Column("query", "string", "The query up to this step.", nullable=False),
        Column("adds", "string", "What the step adds.", nullable=False),
        Column("rows", "int64", "Series that come back.", nullable=False),
        Column("first", "float64", "Value of the first one."),
        Column("note", "string", "Where it became empty."),
    ),
)

LINT = Frame(
    "lint",
    "One row per mistake in a query.",
    (
        Column("rule", "string", "Name of the rule.", nullable=False),
        Column("position", "int64", "Where it begins in the query, from 1.", nullable=False),
        Column("message", "string", "What is wrong.", nullable=False),
        Column("use", "string", "What to write instead."),
    ),
)

SIMULATED_BATCHES = Frame(
    "simulated_batches",
    "One row per batch of events that were pushed together.",
    (
        Column("batch", "int64", "Number of the batch.", nullable=False),
        Column("opened_s", "float64", "Its first event.", unit="s", nullable=False),
        Column("closed_s", "float64", "End of the debounce.", unit="s", nullable=False),
        Column("events", "int64", "Events in it.", nullable=False),
        Column("full", "bool", "Whether more than endpoints changed.", nullable=False),
        Column("reason", "string", "Why it was closed: quiet, max, or endpoints at once.", nullable=False),
        Column("delivered_s", "float64", "When the last proxy had it.", unit="s", nullable=False),
    ),
)

SIMULATED_EVENTS = Frame(
    "simulated_events",
    "One row per event.",
    (
        Column("at_s", "float64", "When it came.", unit="s", nullable=False),
        Column("full", "bool", "Whether more than endpoints changed.", nullable=False),
        Column("batch", "int64", "Batch it was pushed with.", nullable=False),
        Column("debounce_s", "float64", "How long it waited for others.", unit="s", nullable=False),
        Column("delay_s", "float64", "How long until the last proxy had it.", unit="s", nullable=False),
    ),
)

SIMULATED_PUSHES = Frame(
    "simulated_pushes",
    "One row per push to one proxy.",
    (
        Column("istiod", "int64", "Number of the istiod.", nullable=False),
        Column("proxy", "int64", "Number of the proxy.", nullable=False),
        Column("enqueued_s", "float64", "When the first of its updates landed in the queue.", unit="s", nullable=False),
        Column("started_s", "float64", "When it was begun.", unit="s", nullable=False),
        Column("finished_s", "float64", "When it was done.", unit="s", nullable=False),
        Column("batches", "int64", "Batches merged in it; 0 for a first connect.", nullable=False),
        Column("first_connect", "bool", "Whether the proxy had just connected.", nullable=False),
    ),
)

SIMULATED_STAGES = Frame(
    "simulated_stages",
    "One row per event and stage: when it was where on its way to the last proxy.",
    (
        Column("event", "int64", "Number of the event.", nullable=False),
        Column("stage", "string", "event, debounce, queue, push or proxy.", nullable=False),
        Column("begin_s", "float64", "When the stage began.", unit="s", nullable=False),
        Column("end_s", "float64", "When it ended.", unit="s", nullable=False),
    ),
    key=("event", "stage"),
)

STAGES_MEASURED = Frame(
    "stages",
    "One row per stage of a change on its way to a proxy and measure of it, in their order.",
    (
        Column("stage", "string", "event, debounce, queue, push or proxy.", nullable=False),
        Column("what", "string", "What happens in it.", nullable=False),
        Column("measure", "string", "Name of the measure, as in `control_plane`.", nullable=False),
        Column("verdict", "string", "As in `control_plane`.", nullable=False),
        Column("peak", "float64", "Largest value of the window."),
        Column("unit", "string", "Unit of the value."),
        Column("measured", "string", "The verdict in words.", nullable=False),
        Column("settings", "list<string>", "What sets the stage, with the value in effect if it is known."),
    ),
    key=("measure",),
)

SIMULATIONS = Frame(
    "simulations",
    "One row per simulation.",
    (
        Column("name", "string", "What was simulated."),
        Column("events", "int64", "Events.", nullable=False),
        Column("batches", "int64", "Batches they made.", nullable=False),
        Column("pushes", "int64", "Pushes to proxies.", nullable=False),
        Column("merged", "int64", "Pushes saved because the proxy still waited for the one before.", nullable=False),
        Column("queue_mean_s", "float64", "Wait in the push queue, the mean.", unit="s"),
        Column("convergence_mean_s", "float64", "Queue and push, the mean; exact in the row `measured`.", unit="s"),
        Column("debounce_p99_s", "float64", "Wait for other events, 99 % are shorter.", unit="s"),
        Column("queue_p99_s", "float64", "Wait in the push queue, 99 % are shorter.", unit="s"),
        Column("convergence_p99_s", "float64", "Queue and push, as pilot_proxy_convergence_time counts it.", unit="s"),
        Column("delay_p50_s", "float64", "From an event until the last proxy has it, half are shorter.", unit="s"),
        Column("delay_p99_s", "float64", "The same, 99 % are shorter.", unit="s"),
    ),
)

CONTROL_PLANE = Frame(
    "control_plane",
    "One row per measure of the control plane, with a verdict.",
    (
        Column("signal", "string", "latency, saturation, traffic in, traffic out or errors.", nullable=False),
        Column("measure", "string", "Name of the measure; that of its query.", nullable=False),
        Column("what", "string", "What it is.", nullable=False),
        Column(
            "verdict",
            "string",
            "ok, warning, critical, seen (no threshold), quiet (nothing to count) or unknown (could not be measured).",
            nullable=False,
        ),
        Column("peak", "float64", "Largest value of the window."),
        Column("mean", "float64", "Mean of the window."),
        Column("last", "float64", "Last value of the window."),
        Column("unit", "string", "Unit of the values."),
        Column("warning", "float64", "Threshold of a warning."),
        Column("critical", "float64", "Threshold of the worse verdict."),
        Column("held_s", "float64", "Longest stretch above the threshold.", unit="s"),
        Column("at", "timestamp", "When the peak was."),
        Column("statement", "string", "The verdict in words.", nullable=False),
        Column("query", "string", "PromQL that measures it.", nullable=False),
    ),
    key=("measure",),
)

BOTTLENECK = Frame(
    "bottleneck",
    "One row per question on the way through the decision tree, with its answer; the last row is the conclusion.",
    (
        Column("step", "int64", "Number of the step.", nullable=False),
        Column("node", "string", "Name of the question or conclusion.", nullable=False),
        Column("stage", "string", "Stage on the way of a change that the question is about, if about one."),
        Column("question", "string", "The question, or the conclusion in words.", nullable=False),
        Column("answer", "string", "yes, no, unknown; of the conclusion fail, pass or unknown.", nullable=False),
        Column("evidence", "string", "What the answer rests on.", nullable=False),
        Column("measures", "list<string>", "Measures looked at.", nullable=False),
        Column("next", "string", "Where the answer leads."),
        Column("not_taken", "string", "Where the other answers would have led."),
    ),
)

RECOMMENDATIONS = Frame(
    "recommendations",
    "One row per lever, in the order to try them.",
    (
        Column("order", "int64", "In which order to try.", nullable=False),
        Column("lever", "string", "Name of the lever.", nullable=False),
        Column(
            "family",
            "string",
            "Strategy it belongs to: ignore events, batch events, scale istiod, shrink scope; missing for repairs.",
        ),
        Column("what", "string", "What to do.", nullable=False),
        Column("why", "string", "Why it helps here.", nullable=False),
        Column("condition", "string", "When it helps.", nullable=False),
        Column("guard", "string", "What to mind; when it makes things worse.", nullable=False),
        Column("done", "bool", "Whether it is in place already; missing if it cannot be told."),
        Column("setting", "string", "YAML or command.", nullable=False),
        Column("verify", "string", "Query that will show whether it helped.", nullable=False),
    ),
    key=("lever",),
)

ISTIOD_SETTINGS = Frame(
    "istiod_settings",
    "One row per setting of istiod that shapes its performance, with the value in effect after Deployment, autoscaler, "
    "MeshConfig and the defaults of the release. What each pod was started with is in `istiods`.",
    (
        Column(
            "setting",
            "string",
            "Name: an environment variable, or a field of the Deployment or MeshConfig.",
            nullable=False,
        ),
        Column("value", "string", "Value in effect."),
        Column("default", "string", "Default of this release."),
        Column("changed", "bool", "Whether it is set and differs from the default."),
        Column("source", "string", "Where the value comes from.", nullable=False),
        Column("meaning", "string", "What it does.", nullable=False),
        Column("note", "string", "What to mind."),
    ),
    key=("setting",),
)

RECORDED_QUERIES = Frame(
    "recorded_queries",
    "One row per query recorded in the snapshot.",
    (
        Column("name", "string", "Name of the query.", nullable=False),
        Column("query", "string", "PromQL as it was asked.", nullable=False),
        Column("kind", "string", "range or instant.", nullable=False),
        Column("samples", "int64", "Samples that came back."),
        Column("error", "string", "Why none came back."),
        Column("start", "timestamp", "Start of the window.", nullable=False),
        Column("end", "timestamp", "End of the window.", nullable=False),
        Column("step_s", "float64", "Between two points.", unit="s", nullable=False),
    ),
    key=("name",),
)

PUSH_BATCHES = Frame(
    "push_batches",
    "One row per batch of changes istiod pushed, from its log.",
    (
        Column("istiod", "string", "The istiod, POD.NAMESPACE."),
        Column("time", "timestamp", "When the debounce ended.", nullable=False),
        Column("number", "int64", "Number of the push since istiod started.", nullable=False),
        Column("events", "int64", "Changes in the batch.", nullable=False),
        Column("config", "string", "One of the objects that changed."),
        Column("more_configs", "int64", "How many other objects changed."),
        Column("reason", "string", "Why, where no object is named."),
        Column("quiet_s", "float64", "Since the last change.", unit="s", nullable=False),
        Column("waited_s", "float64", "Since the first change of the batch.", unit="s"),
        Column("opened", "timestamp", "When the first change came."),
        Column("full", "bool", "Whether more than endpoints changed."),
    ),
    key=("istiod", "number"),
)

CHANGES = Frame(
    "changes",
    "One row per change of a Kubernetes or Istio object, oldest first, and what istiod pushes for it.",
    (
        Column("time", "timestamp", "When; missing if the document does not say."),
        Column("kind", "string", "Kind of the object.", nullable=False),
        Column("namespace", "string", "Namespace of the object."),
        Column("name", "string", "Name of the object.", nullable=False),
        Column("change", "string", "created, changed, deleted, status, or the reason of an Event.", nullable=False),
        Column("push", "string", "full, endpoints, or missing if istiod pushes nothing for it."),
        Column("since", "timestamp", "The first time of an Event that was repeated."),
        Column("count", "int64", "How often, from `since` to `time`.", nullable=False),
    ),
)

PUSH_RUNS = Frame(
    "push_runs",
    "One row per run of the performance test.",
    (
        Column("name", "string", "What was run.", nullable=False),
        Column("before", "float64", "Pushes counted before."),
        Column("pushes", "int64", "Pushes of the run.", nullable=False),
        Column("p99_s", "float64", "P99 of the convergence time.", unit="s"),
        Column("services", "int64", "Services istiod knew at the end."),
        Column("virtual_services", "int64", "Virtual services istiod knew at the end."),
        Column("start", "timestamp", "Start of the run."),
        Column("end", "timestamp", "End of the run."),
    ),
)
