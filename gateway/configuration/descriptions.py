"""What every key of the two configuration files is for, in a sentence: editors show it, the reference page lists it.

Beside the types instead of in them, so that these can be read at a glance; a test sees to it that every field has its line.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import descriptions_cascade, descriptions_costs, descriptions_experiments, descriptions_prompts
from gateway.configuration import schema_cache as caches
from gateway.configuration import schema_gateway as process
from gateway.configuration import schema_limits as limits
from gateway.configuration import schema_policy as policy
from gateway.configuration import schema_rollouts as rollouts
from gateway.configuration import schema_shadows as shadows
from gateway.configuration import schema_tests as tests

Struct = type[msgspec.Struct]

DESCRIPTIONS: Mapping[Struct, Mapping[str, str]] = {
    **descriptions_costs.DESCRIPTIONS,
    **descriptions_experiments.DESCRIPTIONS,
    policy.PolicyDocument: {
        "version": "The version of the file's format.",
        "backends": "Who can answer: groups of servers, by names of your own.",
        "models": "What clients may ask for; the name is the {model} in their URL.",
        "aliases": "Other public names of models: `alias: model`. Whoever may ask the model may ask it by its alias.",
        "limits": "Who may ask how much; more is answered 429.",
        "tests": "Requests and what must become of them; a document whose own tests fail is never used.",
        "holdout": "Units that meet no candidate of any rollout, so that one sees what all of them together have changed.",
        "without": "Parts left out on purpose; else a file that lacks what the policy in force has is taken for half of one.",
    },
    policy.Backend: {
        "protocol": "How its servers are asked; models that stream need triton-grpc.",
        "endpoints": "Every server that holds the same models. If one cannot be reached, the next is asked.",
        "balance": "least-request: the less busy of two taken at random; round-robin: each in turn; hash: a tenant's own one.",
        "max_in_flight": "Requests at this backend at once, at most; fewer of a model where more would only wait there.",
        "retry": "Whether requests that fail are asked once more, at another endpoint where there is one.",
        "hedge": "Whether requests that take long are asked at a second endpoint as well.",
        "breaker": "When an endpoint that keeps failing is left alone.",
        "health": "How every endpoint is asked whether it, and each model, is ready.",
    },
    policy.Retry: {
        "attempts": "Of one request, the first included.",
        "budget": "At most this share of the requests is asked once more.",
    },
    policy.Hedge: {
        "after": "The quantile of the endpoint's own latest answers after which the second is asked.",
        "budget": "At most this share of the requests is hedged.",
    },
    policy.Breaker: {
        "failures": "One after the other, until an endpoint is left alone.",
        "open": "How long it is left alone before a single request tries it again.",
    },
    policy.Health: {
        "interval": "From one check of an endpoint to the next.",
        "timeout": "How long an endpoint may take to answer a check.",
    },
    policy.Model: {
        "variants": "The models that may answer, by names of your own.",
        "routes": "Who is answered by which variant, from top to bottom: the first that matches. The last has no match.",
        "timeout": "For the whole answer, all stages and fallbacks together; a route may set its own.",
        "fallback": "`variant: variant` asked instead when the first fails (not when it is unsure, nor when time is up).",
        "version_policy": "Which versions a client may ask for by number.",
        "cache": "Whether and how long answers are kept, and given again to equal questions; docs/cache.md says what is equal.",
        "routers": "Trained prompt routers by names of your own; routes match their scores. docs/prompt-router.md explains them.",
        "rollouts": "By variant, who is to take its place step by step; docs/rollout.md explains them.",
        "shadows": "Candidates that are asked too, compared, and answer nobody; docs/shadow.md explains them.",
    },
    policy.Rollout: {
        "candidate": "The variant that takes its place.",
        "steps": "Weights that grow; after the last the candidate has everything.",
        "guards": "What must not become worse, or the candidate is taken back.",
        "unit": "Who stays on a side: every request on its own, or all of a tenant, a subject or a header's value.",
        "alpha": "The chance that a candidate that changes nothing is ever taken back, however often one looks.",
        "proof": "What a step needs beside its time: a shadow that found the answers the same, nothing more, or a person.",
        "group": "Rollouts of one group never share a unit: each has a part of its units.",
        "feedback": "What clients tell later of its requests; docs/experiment.md explains it.",
    },
    rollouts.RolloutStep: {
        "weight": "The candidate's share of the units.",
        "hold": "How long at least.",
        "samples": "For how many of the candidate's requests at least.",
    },
    rollouts.Guard: {
        "metric": "Of the variant's own answers, also where a fallback saved the client; docs/rollout.md says what each counts.",
        "max_increase": "Tolerated: in points of the requests for a rate, as a part of its seconds for a latency.",
        "max_ratio": "Tolerated of a rate instead: so many times the stable side's, `1.5` for half as much again.",
        "max": "Tolerated of `disagreement`: the share of answers that differ beyond the stable side's own noise.",
        "output": "What `guardrail-rate` looks at; what `unparseable-rate` expects JSON in.",
    },
    policy.Variant: {
        "backend": "Which of the backends has it.",
        "model": "The model's name at that backend.",
        "version": "The model's version at that backend, in quotes; without one the backend chooses.",
        "cost": "Of one row, in any unit you like; or by its parts. docs/cost.md says who pays for what.",
        "timeout": "For one answer of this variant; what is left of the route's timeout if that is less.",
        "deterministic": "Whether the same question always has the same answer; a cache on one that says false is refused.",
        "row_independent": "Whether a row's answer is the same beside other rows; else none is kept, or goes up a cascade,"
        " alone.",
        "pure": "Asking it changes nothing anywhere, so that a question may be asked again; only such variants are mirrored.",
    },
    policy.Route: {
        "name": "In the response header X-Penstock-Route, in metrics and logs.",
        "match": "Which requests take this route; all conditions must hold. The last route has none.",
        "use": "The variant that answers. A route has exactly one of use, split and cascade.",
        "split": "Variants by weight, at most 100; the weights need not add up to 100, and weight 0 asks nobody.",
        "unit": "What keeps getting the same side of the split. Without one, every request on its own.",
        "cascade": "Cheap variants first; only rows that these are unsure of go on to dearer ones.",
        "timeout": "For the whole answer on this route, instead of the model's.",
        "sample": "The share of its requests that is recorded for `penstock policy diff` and `backtest`.",
    },
    policy.Match: {
        "tenant": "The caller's tenant, from the verified token or API key.",
        "tier": "The caller's tier, from the verified token or API key.",
        "scope": "A scope of the caller, from the verified token or API key.",
        "version": "The version that the client asks for.",
        "header": "Headers (gRPC: metadata) and the exact value that each must have. Never a credential.",
        "parameter": "Parameters of the request and the exact value and kind that each must have: `true` is not `1`.",
        "rows": "How many rows are asked at once; never holds for a request without rows.",
        "bytes": "The size of all input tensors in binary form, the same in every dialect.",
        "priority": "X-Priority, from 0, the highest, to 9; never holds for a request without it.",
        "text_length": "By input: the characters of its longest text. The inputs must be of datatype BYTES.",
        "parameter_range": "Parameters that are numbers, and the whole numbers between which each must lie.",
        "prompt": "By router: which scores of the prompt. Never holds for a request without the router's input.",
        "all": "Further conditions, all of which must hold.",
        "any": "Conditions of which at least one must hold.",
        "not": "Conditions that must not all hold.",
    },
    **descriptions_prompts.DESCRIPTIONS,
    **descriptions_cascade.DESCRIPTIONS,
    caches.Cache: {
        "ttl": "How long an answer is fresh; each a little shorter, up to a tenth, by chance.",
        "rows": "Every row of a batch is kept and found on its own; only the missing ones go to the backend, together.",
        "shared": "Tenants share answers. Without it each tenant (or who has none, each subject) has its own.",
        "stale_while_revalidate": "So long after its time an answer is still given, and asked for anew in the background.",
        "stale_if_error": "So long after its time an answer is given where otherwise there would be an error.",
        "tag": "A word of yours, by which operators throw away the answers of several models at once.",
        "force": "Keep answers of variants that say `deterministic: false` all the same.",
    },
    shadows.Shadow: {
        "name": "In metrics, in the report and in the admin API.",
        "to": "The candidate: the variant that is asked too.",
        "fraction": "The share of the questions that is mirrored.",
        "of": "The variant whose questions are mirrored, wherever routes ask it; in a cascade `to` takes its place.",
        "route": "Only this route's questions. Without `of` the candidate is held against whatever the route answers.",
        "compare": "By output, what is the same. An output that is not here has its datatype's own tolerance.",
        "noise": "Of the mirrored questions, the share that the primary is asked again, to know how it differs from itself.",
        "margin": "The share of questions in which the candidate may differ beyond noise and still be called the same.",
        "alpha": "The chance of a verdict that is wrong, over all outputs and whenever one looks.",
        "timeout": "For the candidate's answer; without one as long as the route's answer may take.",
        "max_in_flight": "Mirrored questions at a time, in each process.",
        "queue": "How many may wait beyond that; one more is dropped, and counted.",
        "budget": "Of cost, as the variants state it, second asks included: what is beyond it is dropped, in each process.",
        "payloads": "Keep question and answers of the worst differences for the report. Else only their request ids.",
        "record": "Write down label and confidence of both answers' rows, for `penstock calibrate`; telemetry.pairs says where.",
        "except": "Whose questions are never mirrored.",
    },
    shadows.Record: {
        "metric": "How an output becomes a confidence, as in a cascade.",
        "output": "Which output has the probabilities, the log-probabilities of tokens, or the JSON documents.",
        "logits": "It has logits, of which the softmax are the probabilities.",
        "path": "It has JSON documents, and in each the tokens' log-probabilities stand here.",
        "label": "The output that tells the predicted label. Without it, the place of the largest value.",
    },
    shadows.Except: {
        "tenant": "The caller's tenant, from the verified token or API key.",
        "tier": "The caller's tier, from the verified token or API key.",
    },
    shadows.Compare: {
        "exact": "Every element is equal.",
        "label": "The place of a row's largest value is the same.",
        "ignore": "It is not compared.",
        "atol": "An element may differ by atol + rtol × the primary's.",
        "rtol": "As a part of the primary's element.",
        "top": "How deep overlap and rbo look: the so many largest values of a row. 5 unless said.",
        "overlap": "The least share of the largest values that both have.",
        "rbo": "The least rank-biased overlap of the largest values, which counts the first places most.",
        "total_variation": "The largest total variation distance of a row's probabilities.",
        "jensen_shannon": "The largest Jensen-Shannon divergence of a row's probabilities, in bits.",
        "cosine": "The least cosine of the angle between rows: for embeddings.",
        "similarity": "The least likeness of texts, by the pieces of three letters that they share.",
        "json": "For texts that are JSON: rules by place; what has none must be equal.",
    },
    limits.Limit: {
        "name": "In answers, in metrics and in tests; without one `limit-` and its place in the list.",
        "match": "Whose requests count. Without one everybody's do.",
        "per": "Every such value has a bucket of its own. Without it all whose requests count share one.",
        "requests": "Requests in so much time.",
        "burst": "Requests at once, when nobody asked for a while. Without it the number in `requests`: 6000 of `6000/m`.",
        "concurrency": "Requests at the same time.",
        "bytes": "Of requests, tensors and all, in so much time; the number written may come at once.",
        "cost": "What may be spent in each hour, day or month of UTC. What is kept in a cache costs nothing.",
        "escalations": "Rows that cascades may send up in each hour, day or month of UTC; others keep the answer they have.",
    },
    limits.LimitMatch: {
        "tenant": "The caller's tenant, from the verified token or API key.",
        "tier": "The caller's tier, from the verified token or API key.",
        "subject": "Who the caller is, from the verified token or API key; `anonymous` is everybody without a credential.",
        "scope": "A scope of the caller, from the verified token or API key.",
        "model": "The model that is asked, by its own name and not by an alias.",
    },
    tests.PolicyTest: {
        "name": "What is being tested, in words.",
        "request": "The request.",
        "expect": "What must become of it.",
    },
    tests.Request: {
        "model": "The public name that is asked for, or an alias.",
        "principal": "Who asks.",
        "rows": "How many rows; null for a request without rows.",
        "headers": "Headers (gRPC: metadata), by name.",
        "parameters": "The request's parameters, by name.",
        "version": "The version that is asked for.",
        "priority": "X-Priority.",
        "bytes": "The size of all input tensors in binary form.",
        "text_length": "By input of datatype BYTES: the characters of its longest text.",
        "prompt": "By router: the score of the prompt, as `penstock router score` tells it.",
        "request_id": "X-Request-Id: in a split by request it decides the side.",
    },
    tests.Caller: {
        "subject": "Who it is, in a split by subject.",
        "tenant": "The tenant.",
        "tier": "The tier.",
        "scopes": "What the caller may do.",
    },
    tests.Expect: {
        "route": "The route that is taken.",
        "use": "The only variant that is asked; of a split, the side that is taken.",
        "cascade": "The variants of the stages, in order.",
        "timeout": "The time that the answer may take.",
        "limits": "All the limits that count the request, and no other; `[]` for none.",
        "refused": "The reason why it is refused, as in X-Penstock-Error: no-route, version, forbidden, not-found.",
    },
    process.GatewayDocument: {
        "listen": "Where clients and operators come in.",
        "workers": "How many processes serve.",
        "store": "Where what replicas share (limits, answers) is kept: memory shares nothing; or the URL of a Redis server.",
        "redis": "How to get into that server.",
        "cache": "Answers kept in memory, of all models with a cache together, in each process.",
        "limits": "What one client, or one answer of a backend, may take of the process: see docs/limits.md.",
        "auth": "Who is let in.",
        "telemetry": "What is told about requests, beside the metrics.",
        "drain": "How the process stops.",
        "state": "The folder in which earlier policies and the audit log are kept; null: in memory and on the log only.",
    },
    process.Redis: {
        "password_file": "The file with the password, read for each connection; null: that of PENSTOCK_REDIS_PASSWORD, if any.",
        "ca_file": "Certificates of who signed the server's, with rediss://; null: the system's.",
        "answers": "The largest answer that is kept there, for all replicas; 0B keeps none there.",
    },
    process.Listen: {
        "http": "Inference over HTTP.",
        "grpc": "Inference over gRPC.",
        "admin": "Metrics, health and the admin API; keep it away from clients.",
        "shared": "true lets other gateways of the same user listen on http and grpc, too, so that a new one can take over.",
    },
    process.Limits: {
        "body": "Of one request's body, as it comes.",
        "inflated": "Of one body once its content coding is undone.",
        "chunks": "Chunks of a chunked body.",
        "request_line": "Method, path with query and version.",
        "headers": "All header lines together.",
        "header_count": "Header lines.",
        "connections": "Open connections in all.",
        "connections_per_address": "Open connections of one IPv4 address or IPv6 /64 network; null: no bound of its own.",
        "pipelined": "What is read of later requests while one is being answered.",
        "unread": "What is thrown away of a refused request's body to keep its connection.",
        "unsent": "Answers that wait for their clients, of all clients together.",
        "answer": "Of one answer of a backend.",
        "first_byte_timeout": "A new connection without a byte.",
        "headers_timeout": "From a request's first byte to the end of its headers.",
        "body_grace": "How long a body may take before it must keep body_rate.",
        "body_rate": "Bytes per second of a body sent, and of an answer taken.",
        "write_timeout": "The span in which an answer that waits must be taken at body_rate.",
        "idle_timeout": "From an answer to the first byte of the next request.",
        "linger_timeout": "For a refused client to hear why.",
    },
    process.Auth: {
        "jwt": "Whose tokens are believed.",
        "claims": "Which claim of a token says what.",
        "api_keys": "The file of API keys' hashes; null: no API keys.",
        "anonymous": "true lets in whoever comes without a credential.",
    },
    process.Issuer: {
        "issuer": "The token's `iss`.",
        "audience": "The token's `aud`.",
        "jwks": "Where the issuer's public keys are.",
        "algorithms": "How its tokens may be signed.",
    },
    process.Claims: {
        "tenant": "The claim with the tenant.",
        "tier": "The claim with the tier.",
        "scopes": "The claim with the scopes.",
    },
    process.Telemetry: {
        "access_log": "One line of JSON per request on standard output, or none.",
        "access_log_share": "Of the requests that went well, taken at random; the others are all told.",
        "samples": "Where requests of routes that say `sample` are recorded; null: nowhere.",
        "pairs": "Where answers of shadows that say `record` are written, row by row; null: nowhere.",
        "otlp": "Where traces go.",
    },
    process.Samples: {
        "file": "Where they are written, one line of JSON each.",
        "size": "Of one file, before the next begins.",
        "keep": "How many files are kept, for each process.",
    },
    process.Drain: {
        "notice": "How long it serves on after SIGTERM, not ready, so that load balancers see it; 0: not at all.",
        "idle": "Of the grace, what a client that asks nothing has for its next request.",
        "grace": "How long requests in flight may take to end after SIGTERM.",
    },
}

EXAMPLES: Mapping[Struct, str] = {
    **descriptions_costs.EXAMPLES,
    **descriptions_experiments.EXAMPLES,
    policy.Backend: """
protocol: triton-http
endpoints: [triton-a.internal:8000, triton-b.internal:8000]
retry: {attempts: 2, budget: 10%}
""",
    policy.Model: """
timeout: 500ms
variants:
  fast:     {backend: triton, model: digits_fast, cost: 1}
  accurate: {backend: triton, model: digits_accurate, cost: 40}
routes:
  - {name: enterprise, match: {tier: enterprise}, use: accurate}
  - {name: default, use: fast}
fallback: {accurate: fast}
""",
    policy.Variant: """
{backend: triton, model: digits_accurate, version: "2", cost: 40, timeout: 200ms}
""",
    policy.Route: """
name: experiment
match: {header: {x-experiment: "1"}}
split: {accurate: 95, accurate-v2: 5}
unit: tenant
timeout: 1s
""",
    policy.Match: """
tier: [free, trial]
rows: ..16
any:
  - priority: 7..
  - not: {scope: batch}
""",
    **descriptions_cascade.EXAMPLES,
    **descriptions_prompts.EXAMPLES,
    shadows.Shadow: """
name: v2-dark
of: accurate
to: accurate-v2
fraction: 20%
compare: {probabilities: {atol: 0.001}, label: exact}
""",
    policy.Rollout: """
candidate: accurate-v2
unit: tenant
steps: [{weight: 5%, hold: 24h}, {weight: 50%, hold: 24h}]
guards:
  - {metric: error-rate, max_increase: 0.5%}
  - {metric: latency-p99, max_increase: 20%}
proof: time
""",
    limits.Limit: """
name: free
match: {tier: [free, trial]}
per: tenant
requests: 100/s
burst: 200
concurrency: 16
""",
    tests.PolicyTest: """
name: enterprise always gets the accurate model
request: {model: digits, principal: {tier: enterprise}, rows: 4}
expect: {route: enterprise, use: accurate}
""",
    process.Auth: """
jwt:
  - issuer: https://id.example.com
    audience: penstock
    jwks: https://id.example.com/jwks.json
    algorithms: [RS256]
claims: {tenant: org, tier: plan, scopes: scope}
api_keys: config/api-keys.yaml
""",
}
