#!/bin/sh
# The compiler of the workspace's packages where each store has its journal in memory.
exec "$@" --cfg eventfold_memory_journal
