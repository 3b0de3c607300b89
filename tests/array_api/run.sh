#!/bin/sh
# Run the public test suite of the array API standard against this checkout; see README.md.
set -eu
suite=${1:?"usage: run.sh path/to/array-api-tests [pytest options]"}
shift
here=$(cd "$(dirname "$0")" && pwd)
export ARRAY_API_TESTS_MODULE=wengert
export PYTHONPATH="$here/../../src${PYTHONPATH:+:$PYTHONPATH}"
cd "$suite"
exec python -m pytest array_api_tests -q -n 2 -p no:cacheprovider --max-examples 100 --disable-deadline \
    --skips-file "$here/skips.txt" "$@"
