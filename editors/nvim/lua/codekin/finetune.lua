---Fine-tuning: start a run, show the history, roll back.
local client = require("codekin.client")
local window = require("codekin.window")

local M = {}

---@class codekin.Run
---@field started string
---@field decision string
---@field reason string
---@field active boolean
---@field checkpoint? string
---@field before? { map: number }
---@field after? { map: number }

---@param run codekin.Run
---@return string
local function label(run)
  local gain = run.before and run.after and ("MAP %.3f → %.3f"):format(run.before.map, run.after.map) or ""
  return ("%s %s  %-11s %s  %s"):format(run.active and "*" or " ", run.started:sub(1, 16), run.decision, gain, run.reason)
end

---@param answer fun(history: { runs: codekin.Run[], active: string })
local function history(answer)
  client.request("codekin/history", { root = client.root() }, answer)
end

---@param done { message: string }
local function notify_done(done)
  vim.notify("Codekin: " .. done.message)
end

---Starts a run; it goes on in the background.
function M.finetune()
  client.request("codekin/finetune", { root = client.root() }, notify_done)
end

---Shows the runs, the newest first; the active one has a star.
function M.history()
  history(function(found)
    local lines = vim.tbl_map(label, found.runs)
    window.show("Fine-tuning runs", #lines > 0 and lines or { "No fine-tuning run yet; the first is scheduled for tonight." })
  end)
end

---Goes back to a checkpoint; without a name, the user chooses.
---@param checkpoint? string
function M.rollback(checkpoint)
  local function go(name)
    client.request("codekin/rollback", { root = client.root(), checkpoint = name }, notify_done)
  end
  if checkpoint then
    go(checkpoint)
    return
  end
  history(function(found)
    local kept = vim.tbl_filter(function(run)
      return run.checkpoint ~= nil and run.checkpoint ~= vim.NIL
    end, found.runs)
    local base = { checkpoint = "base" }
    vim.ui.select(vim.list_extend({ base }, kept), {
      prompt = "Go back to which model?",
      format_item = function(run)
        return run == base and "the model as it came" or label(run)
      end,
    }, function(run)
      if run then
        go(run.checkpoint)
      end
    end)
  end)
end

return M
