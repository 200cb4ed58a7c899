#import <Foundation/Foundation.h>
#include "ledger.h"

@interface Ledger : NSObject <Counting>
@property (nonatomic, strong) NSString *name;
- (int)add:(int)amount to:(NSString *)account;
@end

@implementation Ledger {
  std::vector<int> entries_;
}

// Adds an amount to an account.
- (int)add:(int)amount to:(NSString *)account {
  if (amount > 0) {
    entries_.push_back(amount);
    [self.store save:account];
  }
  return (int)entries_.size();
}

+ (instancetype)shared {
  static Ledger *ledger = [[Ledger alloc] init];
  dispatch_async(queue, ^{
    NSLog(@"%@", @"made");
  });
  return ledger;
}

@end

static int sum(const std::vector<int>& entries) {
  int total = 0;
  for (int entry : entries) total += entry;
  return total;
}

class Bridge {
 public:
  void post(NSString* text) {
    NSArray *all = @[ text, @"x" ];
    [[Ledger shared] add:(int)all.count to:text];
  }
};
