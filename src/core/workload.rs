//! Lean facts of namespaces, nodes, pods, workloads and disruption budgets: what the decisions need and nothing else.
