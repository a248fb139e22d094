#!/bin/sh
# Runs the tests that need a real ComfyUI, with the newest one that is found or with the oldest supported one.
#
# usage: with_comfyui.sh VENV setup|quick|face|oldest|slow|frontends [pytest arguments]
#
# The arguments are for the tests without a browser, and for frontends.
#
# setup only makes VENV. quick (without a browser), face and frontends (in one) and slow are together all tests in the
# newest one; oldest is what goes through ComfyUI's own interfaces, in the oldest one, where slow has the rest. face has
# each test in Nodes 2.0, in ComfyUI's own frontend or in the newest one; frontends in the classic renderer of the other of
# the two, and the long tests in both. Slow are the rest, and the oldest frontend.
#
# With RETRY_BROWSER=1, tests in the browser that fail are run once more, alone; what fails twice has failed.
#
# VENV is an environment of our own that sees the packages of ComfyUI's, so that nothing is installed into ComfyUI's.
# Without a ComfyUI the tests are skipped with a line that says so; with REQUIRE_COMFYUI=1 that is a failure.
set -eu

venv=$1
# What is not chosen for the oldest ComfyUI in the quick run comes in the slow one: together they are all tests there.
case $2 in
setup) newest="" oldest="" face="" ;;
quick) newest="not slow" oldest="" face="" ;;
face) newest="" oldest="" face="not slow and not other_frontend and not long" ;;
oldest) newest="" oldest="oldest and not slow" face="" ;;
slow) newest="slow" oldest="slow or not oldest" face="slow" ;;
frontends) newest="" oldest="" face="(other_frontend or long) and not slow" ;;
*) echo "usage: with_comfyui.sh VENV setup|quick|face|oldest|slow|frontends [pytest arguments]" >&2 && exit 2 ;;
esac
run=$2
shift 2
found=$("${PYTHON:-python3}" tests/support/find_comfyui.py) || exit $?
if [ -z "$found" ]; then
    if [ "${REQUIRE_COMFYUI:-}" = 1 ]; then
        echo "FAILED: no ComfyUI was found, and REQUIRE_COMFYUI=1 asks for one. Set COMFYUI_PATH." >&2
        exit 1
    fi
    echo "SKIPPED: no ComfyUI was found; the tests in tests/nodes and tests/e2e need one. Set COMFYUI_PATH."
    exit 0
fi

root=$(echo "$found" | sed -n 1p)
python=$(echo "$found" | sed -n 2p)
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
tools="pytest>=8 pytest-xdist>=3.6 hypothesis>=6.100 playwright>=1.40 jsonschema>=4.20 celery>=5.5 prometheus-client>=0.20 redis>=5"
if [ ! -f "$venv/ready" ] || [ "$(cat "$venv/ready")" != "$packages $tools" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    own=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$packages" >"$own/comfyui.pth"
    # shellcheck disable=SC2086 # several packages
    "$venv/bin/python" -m pip install --quiet $tools
    echo "$packages $tools" >"$venv/ready"
fi

# What only slow tests need: PostgreSQL and S3 as a fleet uses them.
if [ "$run" = slow ]; then
    "$venv/bin/python" -m pip install --quiet "psycopg[binary]>=3.2" "s3fs>=2024.6" "moto[server]>=5"
fi

# It is no failure that a folder has no slow test.
tests() {
    "$venv/bin/pytest" "$@" || { code=$?; [ "$code" = 5 ] && [ "$newest" = slow ] || exit "$code"; }
}

browser() {
    choice=$1
    shift
    "$venv/bin/pytest" "$@" -m "$choice" tests/e2e && return
    code=$?
    [ "$code" = 1 ] && [ "${RETRY_BROWSER:-}" = 1 ] || exit "$code"
    echo "Once more, alone: what failed in the browser."
    "$venv/bin/pytest" -m "$choice" --last-failed --last-failed-no-failures none tests/e2e
}

export COMFYUI_PATH="$root" COMFYUI_PYTHON="$python"
if [ -n "$newest" ]; then
    tests "$@" -m "$newest" tests/nodes
fi
if [ -n "$oldest" ]; then
    # The oldest ComfyUI that is supported shares the environment.
    oldest_root=${COMFYUI_OLDEST:-$HOME/ComfyUI-0.3.64}
    if [ -f "$oldest_root/main.py" ]; then
        (COMFYUI_PATH="$oldest_root" && export COMFYUI_PATH && tests "$@" -m "$oldest" tests/nodes)
    else
        echo "SKIPPED: no ComfyUI 0.3.64 in $oldest_root; the tests in tests/nodes run with the found one only."
    fi
fi
case $run in
frontends) browser "$face" "$@" ;;
*) [ -z "$face" ] || browser "$face" ;;
esac
