#!/bin/sh
# Certificates for Dask's mutual TLS: one authority, one key for scheduler, workers and clients of a deployment.
#   sh infra/certificates.sh FOLDER [HOST ...]      HOST: further names of the scheduler, besides localhost
set -eu
folder=${1:?give a folder}; shift
mkdir -p "$folder"; cd "$folder"; umask 077
names="DNS:localhost,IP:127.0.0.1"
for host in "$@"; do names="$names,DNS:$host"; done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj "/CN=spinetally authority" -keyout authority.key -out authority.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -subj "/CN=spinetally dask" -keyout dask.key -out dask.csr 2>/dev/null
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > dask.ext
openssl x509 -req -in dask.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 3650 \
    -extfile dask.ext -out dask.pem 2>/dev/null
rm dask.csr dask.ext
echo "in $folder: authority.pem, dask.pem, dask.key; keep authority.key elsewhere"
