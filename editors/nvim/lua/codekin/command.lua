---`:Codekin` and its subcommands.
local M = {}

local WAYS = { "quickfix", "picker", "preview" }

---@class codekin.Subcommand
---@field run fun(words: string[], arguments: table)
---@field complete? string[]

---@param words string[]
---@return string? way
local function way_in(words)
  return vim.list_contains(WAYS, words[1]) and words[1] or nil
end

---@type table<string, codekin.Subcommand>
local subcommands = {
  similar = {
    complete = WAYS,
    run = function(words, arguments)
      local lines = arguments.range > 0 and { arguments.line1, arguments.line2 } or nil
      require("codekin.similar").find(lines, way_in(words))
    end,
  },
  search = {
    run = function(words)
      require("codekin.similar").search(table.concat(words, " "))
    end,
  },
  duplicates = {
    complete = WAYS,
    run = function(words)
      require("codekin.similar").duplicates(way_in(words))
    end,
  },
  index = {
    run = function()
      require("codekin.client").request("codekin/index", { root = require("codekin.client").root() }, function(result)
        vim.notify(("Codekin: %d files, %d chunks."):format(result.files, result.chunks))
      end)
    end,
  },
  toggle = {
    run = function(words)
      local on = require("codekin.switches").toggle(words[1])
      require("codekin").renderer().refresh()
      vim.notify(("Codekin: suggestions %s%s."):format(on and "on" or "off", words[1] and " in " .. words[1] or ""))
    end,
  },
  doctor = {
    run = function()
      vim.cmd.checkhealth("codekin")
    end,
  },
  log = {
    run = function()
      vim.cmd.tabedit(vim.lsp.log.get_filename())
      vim.cmd("normal! G")
    end,
  },
  status = {
    run = function(words)
      require("codekin.terminal").run(vim.list_extend({ "status" }, words))
    end,
  },
  dashboard = {
    run = function()
      require("codekin.client").request("codekin/dashboard", { root = require("codekin.client").root() }, function(result)
        vim.ui.open(result.url)
      end)
    end,
  },
  finetune = {
    run = function()
      require("codekin.finetune").finetune()
    end,
  },
  history = {
    run = function()
      require("codekin.finetune").history()
    end,
  },
  rollback = {
    run = function(words)
      require("codekin.finetune").rollback(words[1])
    end,
  },
}

---@return string[]
local function names()
  local found = vim.tbl_keys(subcommands)
  table.sort(found)
  return found
end

---@param arguments table as `nvim_create_user_command` gives them
function M.run(arguments)
  local words = vim.deepcopy(arguments.fargs)
  local name = table.remove(words, 1) or "similar"
  local subcommand = subcommands[name]
  if subcommand then
    subcommand.run(words, arguments)
  else
    vim.notify(("Codekin: there is no %q; there are %s."):format(name, table.concat(names(), ", ")), vim.log.levels.ERROR)
  end
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  local name = line:match("Codekin%s+(%S+)%s")
  local known = name and (subcommands[name] or {}).complete or not name and names() or {}
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, known)
end

return M
