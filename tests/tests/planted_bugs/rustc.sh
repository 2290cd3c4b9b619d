#!/bin/sh
# The compiler of the workspace's packages in the builds of `planted_bugs`.
exec "$@" --cfg eventfold_sabotage
