#include "storehouse/ring_buffer.hpp"

#include <cassert>

int main() {
  storehouse::RingBuffer<int, 3> buffer;
  for (int item = 1; item <= 5; ++item) {
    buffer.push(item);
  }
  assert((buffer.to_vector() == std::vector<int>{3, 4, 5}));
  assert(buffer.pop() == 3);
  return 0;
}
