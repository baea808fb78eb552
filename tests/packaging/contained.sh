# In a mount and network namespace of its own: the file system as the image's container has it, then "$@" in it.
# MODELS: the folder of the models. VOLUMES: the folders that may be written, under /var/lib and /var/cache.
set -eu
ip link set lo up
mkdir -p /tmp/models
mount --bind "$MODELS" /tmp/models
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /var/cache
mkdir -p /var/cache/weighup/models
mount --bind /tmp/models /var/cache/weighup/models
mount -o remount,bind,ro /var/cache/weighup/models
umount /tmp/models
rmdir /tmp/models
for folder in $VOLUMES; do
  mkdir -p "$folder"
  mount -t tmpfs tmpfs "$folder"
done
mount -t tmpfs tmpfs /tmp
for place in /var/lib /var/cache /; do
  mount -o remount,bind,ro "$place"
done
cd /var/lib/weighup
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
