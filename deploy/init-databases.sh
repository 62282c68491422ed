#!/bin/sh
# Makes the three databases and what Prefect asks of its own; safe to run again. As a user who may make
# databases: PostgreSQL's image runs it by itself, elsewhere `sudo -u postgres sh init-databases.sh`.
set -eu
owner=${PGOWNER:-${POSTGRES_USER:-gridcast}}
for name in prefect mlflow mlflow_auth; do
  if [ -z "$(psql -d postgres -Atc "SELECT 1 FROM pg_database WHERE datname = '$name'")" ]; then
    psql -v ON_ERROR_STOP=1 -d postgres -qc "CREATE DATABASE $name OWNER \"$owner\""
  fi
done
psql -v ON_ERROR_STOP=1 -d prefect -qc "CREATE EXTENSION IF NOT EXISTS pg_trgm"
