#include "storehouse/device_registry.hpp"

namespace storehouse {

bool DeviceRegistry::register_device(const std::string& device_id, std::weak_ptr<Connection> connection) {
  std::lock_guard lock(mutex_);
  auto found = connections_.find(device_id);
  if (found != connections_.end() && !found->second.expired()) {
    return false;
  }
  connections_[device_id] = std::move(connection);
  return true;
}

std::shared_ptr<Connection> DeviceRegistry::whereis(const std::string& device_id) const {
  std::lock_guard lock(mutex_);
  auto found = connections_.find(device_id);
  return found == connections_.end() ? nullptr : found->second.lock();
}

void DeviceRegistry::connection_down(const std::string& device_id) {
  std::lock_guard lock(mutex_);
  connections_.erase(device_id);
}

}  // namespace storehouse
