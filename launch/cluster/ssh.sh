#!/usr/bin/env bash
# A training over the hosts of a hostfile by plain ssh, where there is no pdsh:
#
#     launch/cluster/ssh.sh HOSTS /shared/recipe.yaml --work /shared/runs/big
#
# HOSTS is DeepSpeed's hostfile ("NAME slots=GPUS" a line); what follows goes to launch/train.py. Bloomery and the
# files lie at the same place on every host. PORT is the first host's for the ranks to meet at. When one host fails the
# others are ended, and the status is the first that was not 0. Variables named in FORWARD are set on every host.
set -euo pipefail

hostfile=$(realpath "$1")
shift
deepspeed=$(command -v deepspeed)
mapfile -t hosts < <(sed -e 's/#.*//' "$hostfile" | awk 'NF {print $1}')
for host in "${hosts[@]}"; do # a name that is none would be an option of ssh's
  if [[ ! $host =~ ^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]]; then
    echo "error: $hostfile: '$host' is not the name of a host" >&2
    exit 2
  fi
done
main_address=$(ssh -- "${hosts[0]}" hostname -I | awk '{print $1}')

variables=()
for name in ${FORWARD:-DS_ACCELERATOR OMP_NUM_THREADS MLFLOW_TRACKING_URI NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME}; do
  [ -z "${!name:-}" ] || variables+=("$name=${!name}")
done

for rank in "${!hosts[@]}"; do
  command=(env "PATH=$PATH" "${variables[@]}" "$deepspeed" --no_ssh --hostfile "$hostfile" --node_rank "$rank"
    --master_addr "$main_address" --master_port "${PORT:-29500}" launch/train.py "$@")
  # A terminal of its own: what runs there ends when the connection does.
  ssh -tt -o BatchMode=yes -- "${hosts[$rank]}" "cd ${PWD@Q} && exec ${command[*]@Q}" </dev/null &
done

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT INT TERM
for _ in "${hosts[@]}"; do
  wait -n
done
