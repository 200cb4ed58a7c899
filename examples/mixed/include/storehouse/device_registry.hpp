#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace storehouse {

class Connection;

/// Knows which connection serves which device, and forgets it when the connection is gone.
class DeviceRegistry {
 public:
  /// False when the device is registered already.
  bool register_device(const std::string& device_id, std::weak_ptr<Connection> connection);

  std::shared_ptr<Connection> whereis(const std::string& device_id) const;

  void connection_down(const std::string& device_id);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<Connection>> connections_;
};

}  // namespace storehouse
