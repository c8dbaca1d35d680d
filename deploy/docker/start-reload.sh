#!/bin/sh
# The name that commands written for tiangolo/uvicorn-gunicorn start while they develop.
exec python /start.py --reload "$@"
