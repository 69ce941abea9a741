#!/usr/bin/env python3
"""Writes the dashboards of this folder: `deploy/grafana/make.py` after a change here.

Grafana's own files are long and full of defaults; what differs from panel to panel stands below."""
import json
import os

WIDTH, HEIGHT = 8, 7


def panel(title, unit, *queries, stack=False, help_text=""):
    return {"title": title, "unit": unit, "queries": queries, "stack": stack, "help": help_text}


def quantiles(metric, by):
    return [("histogram_quantile(%s, sum by (%s, le) (rate(%s_bucket{job=~\"$job\"}[$__rate_interval])))" % (q, by, metric),
             "{{%s}} p%d" % (by, float(q) * 100)) for q in ("0.5", "0.95", "0.99")]


def rate(metric, by, selector="", legend=None):
    inside = 'job=~"$job"' + (", " + selector if selector else "")
    return ("sum by (%s) (rate(%s{%s}[$__rate_interval]))" % (by, metric, inside),
            legend or " ".join("{{%s}}" % name.strip() for name in by.split(",")))


def gauge(metric, by, function="sum"):
    return ('%s by (%s) (%s{job=~"$job"})' % (function, by, metric), " ".join("{{%s}}" % n.strip() for n in by.split(",")))


RUNTIME = [
    ("Traffic", [
        panel("Requests finished", "reqps", rate("sluice_requests_finished_total", "model, reason")),
        panel("Tokens generated", "short", rate("sluice_generation_tokens_total", "model")),
        panel("Prompt tokens", "short", rate("sluice_prompt_tokens_total", "model", legend="{{model}} all"),
              rate("sluice_prompt_tokens_cached_total", "model", legend="{{model}} from the prefix cache")),
    ]),
    ("Latency", [
        panel("Time to first token", "s", *quantiles("sluice_time_to_first_token_seconds", "model")),
        panel("Time between tokens", "s", *quantiles("sluice_inter_token_latency_seconds", "model")),
        panel("Whole request", "s", *quantiles("sluice_request_duration_seconds", "model")),
        panel("Waiting for the scheduler", "s", *quantiles("sluice_queue_time_seconds", "model")),
        panel("Computing the prompt", "s", *quantiles("sluice_prefill_time_seconds", "model")),
        panel("Generating", "s", *quantiles("sluice_decode_time_seconds", "model")),
    ]),
    ("Engine", [
        panel("Requests running and waiting", "short",
              ('sum by (model) (sluice_requests_running{job=~"$job"})', "{{model}} running"),
              ('sum by (model) (sluice_requests_waiting{job=~"$job"})', "{{model}} waiting")),
        panel("KV cache in use", "percentunit", gauge("sluice_kv_cache_usage_ratio", "instance, model", "max")),
        panel("Preemptions", "ops", rate("sluice_preemptions_total", "model")),
        panel("Prefix cache hit rate", "percentunit",
              ('sum by (model) (rate(sluice_prefix_cache_hits_total{job=~"$job"}[$__rate_interval])) / '
               'sum by (model) (rate(sluice_prefix_cache_queries_total{job=~"$job"}[$__rate_interval]))', "{{model}}")),
        panel("Guessed tokens that were right", "percentunit",
              ('sum by (model) (rate(sluice_draft_tokens_accepted_total{job=~"$job"}[$__rate_interval])) / '
               'sum by (model) (rate(sluice_draft_tokens_total{job=~"$job"}[$__rate_interval]))', "{{model}}")),
        panel("Rejected", "reqps", rate("sluice_requests_rejected_total", "model, reason")),
    ]),
    ("HTTP", [
        panel("HTTP requests", "reqps", rate("sluice_http_requests_total", "route, status")),
        panel("Connections", "short", gauge("sluice_http_connections", "instance"),
              ('sum by (instance) (sluice_http_requests_in_flight{job=~"$job"})', "{{instance}} requests in flight")),
        panel("Broke the protocol or a limit", "reqps", rate("sluice_http_rejected_total", "reason")),
    ]),
]

GATEWAY = [
    ("Traffic", [
        panel("Requests by route", "reqps", rate("sluice_gateway_requests_total", "route")),
        panel("Requests by status", "reqps", rate("sluice_gateway_requests_total", "status"), stack=True),
        panel("Failed", "percentunit",
              ('sum by (route) (rate(sluice_gateway_requests_total{job=~"$job", status=~"5.."}[$__rate_interval])) / '
               'sum by (route) (rate(sluice_gateway_requests_total{job=~"$job"}[$__rate_interval]))', "{{route}}")),
        panel("First byte", "s", *quantiles("sluice_gateway_first_byte_seconds", "route")),
        panel("Whole request", "s", *quantiles("sluice_gateway_request_duration_seconds", "route")),
        panel("Waiting and running", "short", ('sum by (route) (sluice_gateway_queue_waiting{job=~"$job"})', "{{route}} waiting"),
              ('sum by (route) (sluice_gateway_queue_running{job=~"$job"})', "{{route}} running")),
    ]),
    ("Upstreams", [
        panel("Replicas", "short", ('max by (upstream) (sluice_gateway_replicas{job=~"$job"})', "{{upstream}} known"),
              ('max by (upstream) (sluice_gateway_replicas_usable{job=~"$job"})', "{{upstream}} usable")),
        panel("Attempts", "reqps", rate("sluice_gateway_attempts_total", "upstream, result")),
        panel("Outstanding requests", "short", gauge("sluice_gateway_outstanding_requests", "upstream")),
        panel("Retries, fallbacks, hedges", "reqps", rate("sluice_gateway_retries_total", "reason", legend="retry {{reason}}"),
              rate("sluice_gateway_fallbacks_total", "upstream", legend="fallback {{upstream}}"),
              rate("sluice_gateway_hedges_total", "outcome", legend="hedge {{outcome}}")),
        panel("How the replica was chosen", "reqps", rate("sluice_gateway_decisions_total", "policy, decision"), stack=True),
        panel("Answers that broke", "reqps", rate("sluice_gateway_cut_answers_total", "route")),
    ]),
    ("Unbroken streams", [
        panel("Replicas lost under a stream", "reqps", rate("sluice_gateway_unbroken_losses_total", "loss, when")),
        panel("Gap when a stream went on elsewhere", "s",
              ('histogram_quantile(0.95, sum by (le) (rate(sluice_gateway_resume_gap_seconds_bucket{job=~"$job"}'
               '[$__rate_interval])))', "p95")),
        panel("Given up", "reqps", rate("sluice_gateway_unbroken_given_up_total", "when")),
    ]),
    ("Limits and cache", [
        panel("Refused by a limit", "reqps", rate("sluice_gateway_limited_total", "tenant, limit")),
        panel("Response cache", "reqps", rate("sluice_gateway_cache_requests_total", "route, result")),
        panel("Configuration reloads", "ops", rate("sluice_gateway_config_reloads_total", "result")),
    ]),
    ("Services", [
        panel("Replicas", "short", gauge("sluice_service_replicas", "namespace, service, state", "max")),
        panel("Not ready", "short", ('1 - max by (namespace, service) (sluice_service_ready{job=~"$job"})', "{{namespace}}/{{service}}")),
        panel("Rollout: traffic of the new revision", "percent", gauge("sluice_service_candidate_percent", "namespace, service", "max")),
        panel("Restarts", "short", gauge("sluice_service_restarts", "namespace, service", "max")),
        panel("Requests that wait for a replica", "short", gauge("sluice_gateway_held_requests", "upstream")),
    ]),
    ("Control plane", [
        panel("API requests", "reqps", rate("sluice_control_requests_total", "verb, code")),
        panel("Objects", "short", gauge("sluice_control_objects", "kind", "max")),
        panel("Watches", "short", gauge("sluice_control_watches", "instance")),
    ]),
]


def target(query, legend, number):
    return {"datasource": {"type": "prometheus", "uid": "${datasource}"}, "expr": query, "legendFormat": legend,
            "refId": chr(ord("A") + number)}


def dashboard(title, uid, sections):
    panels, y, number = [], 0, 1
    for name, members in sections:
        panels.append({"type": "row", "title": name, "id": number, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        number += 1
        y += 1
        for i, each in enumerate(members):
            panels.append({
                "type": "timeseries", "title": each["title"], "description": each["help"], "id": number,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"h": HEIGHT, "w": WIDTH, "x": i % 3 * WIDTH, "y": y + i // 3 * HEIGHT},
                "fieldConfig": {"defaults": {"unit": each["unit"], "min": 0, "custom": {
                    "fillOpacity": 20 if each["stack"] else 5,
                    "stacking": {"mode": "normal" if each["stack"] else "none"}}}, "overrides": []},
                "options": {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}},
                "targets": [target(query, legend, n) for n, (query, legend) in enumerate(each["queries"])]})
            number += 1
        y += (len(members) + 2) // 3 * HEIGHT
    return {"title": title, "uid": uid, "tags": ["sluice"], "schemaVersion": 39, "version": 1, "editable": True,
            "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "", "panels": panels,
            "templating": {"list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                {"name": "job", "type": "query", "label": "Job", "datasource": {"type": "prometheus", "uid": "${datasource}"},
                 "query": "label_values(up, job)", "includeAll": True, "multi": True, "allValue": ".*",
                 "current": {"text": "All", "value": "$__all"}, "refresh": 2}]}}


DASHBOARDS = {"sluice-runtime.json": ("Sluice: models", "sluice-runtime", RUNTIME),
              "sluice-gateway.json": ("Sluice: gateway and control plane", "sluice-gateway", GATEWAY)}


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    for name, what in DASHBOARDS.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(dashboard(*what), f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
