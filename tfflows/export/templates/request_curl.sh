#!/usr/bin/env bash
# REST requests to an unconditional flow with curl: bash request_curl.sh NAME [http://HOST:PORT]
set -euo pipefail
url=${2:-http://127.0.0.1:8501}/v1/models/$1

echo "versions:"
curl --fail-with-body -sS "$url"
echo; echo "one sample, seed 1, at temperature 0.7:"
sample=$(curl --fail-with-body -sS "$url:predict" -d \
  '{"signature_name": "sample", "instances": [{"seed": 1, "temperature": 0.7}]}')
echo "$sample"
echo "its log-density; serving_default needs no signature_name:"
curl --fail-with-body -sS "$url:predict" -d "${sample/predictions/instances}"
echo
