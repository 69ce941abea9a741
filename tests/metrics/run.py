"""Scrapes a server after known requests."""
import json
import os
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import Server  # noqa: E402


def scrape(server, view):
    return urllib.request.urlopen(server.url + "/metrics?view=" + view, timeout=30).read().decode()


def value(page, start):
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.split("\n") if line.startswith(start))


def main():
    checks = []
    with Server() as server:
        body = json.dumps({"prompt": "Once upon a time there was", "max_tokens": 6, "ignore_eos": True}).encode()
        prompt_tokens = 0
        for _ in range(3):
            request = urllib.request.Request(server.url + "/v1/completions", body, {"Content-Type": "application/json"})
            prompt_tokens += json.load(urllib.request.urlopen(request, timeout=60))["usage"]["prompt_tokens"]
        native, vllm = scrape(server, "native"), scrape(server, "vllm")
        tool = subprocess.run(["promtool", "check", "metrics"], input=native, capture_output=True, text=True)
        checks.append(("promtool finds nothing", tool.returncode == 0 and not tool.stderr.strip(), tool.stderr))
        for name, start, wanted in [
                ("generated tokens", "sluice_generation_tokens_total{", 18),
                ("finished by length", 'sluice_requests_finished_total{model="story",reason="length"}', 3),
                ("first tokens timed", "sluice_time_to_first_token_seconds_count{", 3),
                ("gaps timed", "sluice_inter_token_latency_seconds_count{", 15),
                ("requests timed", "sluice_request_duration_seconds_count{", 3),
                ("nothing runs", "sluice_requests_running{", 0),
                ("no block is held", "sluice_kv_cache_usage_ratio{", 0)]:
            checks.append((name, value(native, start) == wanted, "%s is %g" % (start, value(native, start))))
        for name, start, wanted in [
                ("vLLM generated tokens", "vllm:generation_tokens_total{", 18),
                ("vLLM success", 'vllm:request_success_total{engine="0",finished_reason="length"', 3),
                ("vLLM first tokens", "vllm:time_to_first_token_seconds_count{", 3),
                ("vLLM cache info", "vllm:cache_config_info{", 1)]:
            checks.append((name, value(vllm, start) == wanted, "%s is %g" % (start, value(vllm, start))))
    failed = [c for c in checks if not c[1]]
    for name, _, detail in failed:
        print("failed: %s: %s" % (name, detail))
    print("%d passed, %d failed, 0 skipped" % (len(checks) - len(failed), len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
