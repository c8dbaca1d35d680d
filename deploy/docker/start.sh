#!/bin/sh
# The name that commands written for tiangolo/uvicorn-gunicorn start.
exec python /start.py "$@"
