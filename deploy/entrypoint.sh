#!/bin/sh
# The roles of the image: code, webserver, daemon. Anything else is a command that is run as it is.
set -eu
umask 077 # what is written here is for the pipeline's user alone

role=${1:-code}
[ $# -eq 0 ] || shift
case $role in
code | webserver | daemon)
    for name in HOST DB USER PASSWORD; do
        eval "value=\${DAGSTER_POSTGRES_$name:-}"
        [ -n "$value" ] || {
            echo "DAGSTER_POSTGRES_$name is not set; docker-compose.yml sets all four of them." >&2
            exit 2
        }
    done
    ;;
esac
case $role in
code)
    # A kill leaves unpacked files behind. When the server starts, no run needs them.
    find "${TMPDIR:-/tmp}" -mindepth 1 -maxdepth 1 -name 'student_pipeline_*' -exec rm -rf {} +
    exec dagster api grpc --host 0.0.0.0 --port 4000 --module-name student_pipeline.definitions "$@"
    ;;
webserver)
    # Connections that are kept are not looked at before their next use: after a restart of the
    # database each would fail once, in the middle of a launch, too. So they are kept for a second.
    exec dagster-webserver --host 0.0.0.0 --port 3000 --workspace /srv/workspace.yaml \
        --db-pool-recycle 1 "$@"
    ;;
daemon)
    exec dagster-daemon run --workspace /srv/workspace.yaml "$@"
    ;;
*)
    exec "$role" "$@"
    ;;
esac
